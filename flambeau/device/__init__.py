"""Devices: memory and compiled code on each kind of hardware; nothing of ops."""
