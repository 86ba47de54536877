"""Nightune in Python, for notebooks and scripts: `import nightune`."""
