"""Options about pictures: preparing them before encoding, and writing decoded ones."""
