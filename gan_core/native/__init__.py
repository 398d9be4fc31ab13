"""Steps in C, a lane after the other: from a trace to a function in this process, with nothing of torch in it."""
