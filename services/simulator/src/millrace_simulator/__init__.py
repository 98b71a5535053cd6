"""A plant that behaves and misbehaves over real Modbus TCP, and keeps the truth."""
