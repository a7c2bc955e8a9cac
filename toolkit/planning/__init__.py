"""Planning: what exactly will run, on which device, in how much memory, and why."""
