// leases
