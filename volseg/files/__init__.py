"""Files of any kind: found, opened, bounded, locked and written whole. Knows nothing of images."""
