"""Which images and objects a trained model finds hardest: label errors show here."""
