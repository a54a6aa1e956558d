"""What the gateway's users may meet, met by real processes: gateways, a store, and an upstream over real HTTP."""
