"""What a training reports."""
