"""The Celery application: how workers are woken.

Goes in: Redis' URL and the prefix of its keys. Comes out: an application, and a bell to wake its
workers with. Does not know: jobs. A message says that a stage has work, never which: what is lost,
late or doubled does no harm, since the ledger tells what is to be done.

`celery --app workers.app …` and Flower find the same application here by its name, `app`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import QueueUnavailable
from workers.connection import celery_broker, redis_errors
from workers.ledger_view import PREFIX

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from workers.ledger_records import QueueStage

WAKE = "transcribe.wake"  # the name of the only task


def queue_of(stage: QueueStage) -> str:
    """The name of the list that wakes a stage, without the prefix."""
    return f"wake:{stage}"


def new_app(url: str, prefix: str = PREFIX) -> Celery:
    """The application, without a task: processes that work add it, others only send."""
    from celery import Celery

    broker_url, transport_options = celery_broker(url)
    app = Celery("transcribe", broker=broker_url, set_as_current=False)
    app.conf.update(
        broker_transport_options={**transport_options, "global_keyprefix": prefix},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # out of memory, read-only: they pass
        broker_pool_acquire_timeout=10,
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,  # late acks on Redis are doubled by every reset of a connection
        task_track_started=True,
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_proc_alive_timeout=60.0,  # a child of a busy machine
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=True,  # Flower asks by it
    )
    return app


def __getattr__(name: str) -> Celery:
    """The application of the environment's Redis, for Celery's own commands."""
    if name != "app":
        raise AttributeError(name)
    from workers import settings

    app = new_app(redis_url(settings.load().redis_url))
    app.task(name=WAKE)(_elsewhere)
    return app


def redis_url(configured: str | None) -> str:
    """The URL of Redis; the usual one where none is configured."""
    return configured or "redis://127.0.0.1:6379/0"


def _elsewhere(*_: Any) -> None:
    """Celery's own `worker` command cannot work; `transcribe worker` does."""


class Bell:
    """Wakes a process of a stage. At most one message a stage waits; each one woken rings on."""

    def __init__(self, app: Celery, redis: Redis, prefix: str = PREFIX) -> None:
        self._app = app
        self._redis = redis
        self._prefix = prefix

    def ring(self, stage: QueueStage) -> None:
        """Wake one process of the stage. Raises QueueUnavailable."""
        from kombu.exceptions import OperationalError

        queue = queue_of(stage)
        with redis_errors():
            waiting = self._redis.llen(self._prefix + queue)
        if waiting:
            return
        try:
            self._app.send_task(WAKE, (stage,), queue=queue, retry=False, ignore_result=True)
        except OperationalError as error:
            raise QueueUnavailable(f"No worker can be woken ({error}): check Redis.") from error
