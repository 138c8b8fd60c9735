"""Development certificates: a certificate authority for one developer."""
