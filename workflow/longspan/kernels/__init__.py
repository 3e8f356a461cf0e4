"""GPU kernels: written by hand, chosen by `longspan.attention_stats`."""
