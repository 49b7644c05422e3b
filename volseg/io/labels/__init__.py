"""Label maps in files: which they are, in how many layers they lie, and how their labels are called."""
