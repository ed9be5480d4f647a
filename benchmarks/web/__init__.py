"""What the browser viewer costs: bytes and milliseconds in Chromium."""
