"""Recorded benchmarks: learning curves of architectures, trained once and looked up ever after."""
