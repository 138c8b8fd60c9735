"""What listens to events: logs, metrics, the guard."""
