"""The settings that volseg comes with, one YAML file each."""
