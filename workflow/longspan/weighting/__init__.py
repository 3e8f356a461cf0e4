"""Token weights and the loss that uses them."""
