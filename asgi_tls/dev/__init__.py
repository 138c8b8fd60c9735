"""Development certificates: a certificate authority of one's own."""
