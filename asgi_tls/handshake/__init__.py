"""One connection from its acceptance to the end of its handshake: addresses, outcomes, alerts, events."""
