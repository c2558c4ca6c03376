"""What a request says of its conversation: the text to choose by, its name, its loops of tools, its prompt caches."""
