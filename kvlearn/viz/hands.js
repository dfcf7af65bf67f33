// Hands on the store: the forms at the foot of the bench.
