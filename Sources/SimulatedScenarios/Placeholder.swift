// The scenarios on the simulated machine.
