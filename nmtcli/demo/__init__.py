"""What `nmt demo` trains on: a phrasebook, made by a small grammar, and settings for it."""
