"""How to find directions in latent space: one method a file."""
