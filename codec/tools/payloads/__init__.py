"""What libraries write, without the containers that a .ctm file does not need."""
