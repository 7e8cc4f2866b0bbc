"""ops: every op, declared once."""
