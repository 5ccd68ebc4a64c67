"""The page: Gradio Blocks around components of our own. It knows recipes, not tensors."""
