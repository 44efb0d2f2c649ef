"""A single-GPU fine-tuning appliance that does not forget silently."""

__version__ = "0.1.0"
