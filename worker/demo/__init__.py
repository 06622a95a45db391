"""The demo: a broker, a worker and a few hundred comments on one machine, in one command.

The integration tests start their brokers from here too.
"""
