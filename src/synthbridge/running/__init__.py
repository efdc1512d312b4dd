"""How a stage runs, never what it makes: launchers, GPUs, memory, what the terminal shows."""
