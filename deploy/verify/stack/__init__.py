"""Checks of docker-compose.yml, brought up for real by deploy/verify/stack_check.sh."""
