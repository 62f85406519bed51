"""From a record to a training sample."""
