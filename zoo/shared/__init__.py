"""What all packages share: errors, messages, command lines, files written whole."""
