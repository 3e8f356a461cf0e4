"""Tables and their contracts, manifests, locks, disks, digests and versions."""
