"""The TLS contexts: a profile, certificates and ticket keys behind one `ssl.SSLContext`."""
