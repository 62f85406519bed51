"""Flax Linen modules: backbones, FPN, ProtoNet, prediction head."""
