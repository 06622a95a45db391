"""A changed policy adopted by a running worker, or refused, and how that is told."""

import asyncio

import structlog

from worker.errors import PolicyError
from worker.metrics import Metrics
from worker.policy import Policy
from worker.policy_watch import PolicyWatch
from worker.screening import Screener

log = structlog.get_logger()


async def reload_policy(watch: PolicyWatch, screener: Screener, metrics: Metrics, *, every_s: float) -> None:
    """Look again and again; until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        refusing = watch.refusing
        try:
            policy = await asyncio.to_thread(watch.look)
        except PolicyError as error:
            _refuse(error, metrics)
        else:
            if policy is not None:
                _adopt(policy, screener, metrics)
            elif refusing and not watch.refusing:
                log.info("the policy's file is right again, and as it was", policy=screener.policy.id)
        metrics.policy_refused.set(watch.refusing)


def _refuse(error: PolicyError, metrics: Metrics) -> None:
    metrics.policy_reloads.labels("refused").inc()
    for problem in error.problems:
        log.error("policy refused, the last one stays", problem=problem)


def _adopt(policy: Policy, screener: Screener, metrics: Metrics) -> None:
    before, after = screener.policy, policy.version
    screener.adopt(policy)
    metrics.describe(screener.model, after)
    metrics.policy_reloads.labels("adopted").inc()
    log.info("policy adopted", policy=after.id, version=after.version, sha256=after.sha256, before=before.sha256)
    for warning in policy.warnings:
        log.warning("policy", warning=warning)
    if (before.id, before.version) == (after.id, after.version):
        # Whoever reads a decision later looks for the policy by these.
        log.warning("policy", warning=f"another policy under the same version {after.version}: raise it")
