"""Names and limits that runs in MLflow share."""

# Logged when a trial ends, or halts at a rung; the other metrics are curves.
ONCE = ("objective", "best_epoch", "epochs", "seconds")
PEAKS = ("peak_memory_mib", "device_peak_memory_mib")  # of the process so far; the device's where that tells
TAG_LENGTH = 5000
