"""What a server shows from outside, asked over the network and recorded without an opinion."""
