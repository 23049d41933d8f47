"""Rows of the leaf table for our own fields: the model, the engine, the environment, the cache."""

from collections.abc import Iterator
from dataclasses import replace

from tests.campaign import placement
from tests.campaign.base import ACCOUNTS, GIVEN
from tests.campaign.table import GONE, Row, plain, row
from tests.cases.table import REMOVED
from tests.cluster.prefetching import COMMIT

IN_ONE_WAY = "storageClassName and accessModes cannot change"


def model() -> Iterator[Row]:
    """`model`."""
    yield row({"model.name": "other/model"}, {"args.model": "other/model"})
    below = {"model.name": "/data/a", "model.revision": REMOVED}
    yield row(below, {"args.model": "/data/a", "args.--revision": GONE})
    yield from plain("model.revision", "v2", "args.--revision", "v2")
    names = "args.--served-model-name"
    yield row({"model.servedNames.0": "uno"}, {names: "uno two"})
    yield row({"model.servedNames": REMOVED}, {names: "org/model"})
    token = "env.HF_TOKEN.valueFrom.secretKeyRef"
    yield row({"model.tokenSecretRef.name": "other"}, {f"{token}.name": "other"})
    yield from plain("model.tokenSecretRef.key", "k", f"{token}.key", "k", "HF_TOKEN")
    yield row({"model.tokenSecretRef": REMOVED}, {"env.HF_TOKEN": GONE})
    volume, source = "pod.volumes.chat-template", "model.chatTemplate.configMapKeyRef"
    yield row({f"{source}.name": "other"}, {f"{volume}.configMap.name": "other"})
    yield row({f"{source}.key": "other"}, {f"{volume}.configMap.items.0.key": "other"})
    mount = "container.volumeMounts.chat-template"
    template = {"args.--chat-template": GONE, volume: GONE, mount: GONE}
    yield row({"model.chatTemplate": REMOVED}, template)
    yield from plain("model.trustRemoteCode", False, "args.--trust-remote-code", GONE)
    # Pods that may ask a hub are let out.
    offline = {
        "env.HF_HUB_OFFLINE": GONE,
        "env.TRANSFORMERS_OFFLINE": GONE,
        "policy.spec.policyTypes.1": GONE,
    }
    for value in (False, REMOVED):
        yield row({"model.offline": value}, offline)
    hub = "https://other.example"
    yield row({"model.hubEndpoint": hub}, {"env.HF_ENDPOINT.value": hub})
    yield row({"model.hubEndpoint": REMOVED}, {"env.HF_ENDPOINT": GONE})


def engine() -> Iterator[Row]:
    """The engine, its image and the number of its ranks."""
    yield row({"device": "cuda"}, refused='Unsupported value: "cuda"')
    yield row({"device": "gaudi"}, refused="engine.family is vllm-gaudi on Gaudi")
    yield row({"engine.family": "vllm-gaudi"}, refused="engine.family is vllm-gaudi on Gaudi")
    yield row({"engine.family": "other"}, refused='Unsupported value: "other"')
    yield row({"engine.version": "0.33"}, stalled=("InvalidForEngine", "no profile for vllm 0.33"))
    # A patch of the same engine has the same flags; what it is decides a pod all the same.
    yield row({"engine.version": "0.32.1"}, rolls=True)
    yield row({"engine": REMOVED}, refused="engine is required with an image of your own")
    newer = "registry.example/vllm:v2"
    yield row({"image": newer}, {"container.image": newer, "status.image": newer})
    default = "docker.io/vllm/vllm-openai-cpu:v0.32.0-x86_64"
    unset = {"container.image": default, "status.image": default}
    yield row({"image": REMOVED, "engine": REMOVED}, unset)
    # A default image holds what it holds, whatever is said of it.
    yield row({"image": REMOVED}, unset)
    other = {"engine.version": "0.33", "image": REMOVED}
    yield row(other, stalled=("InvalidForEngine", "v0.32.0-x86_64 holds vllm 0.32, not vllm 0.33"))
    yield from plain("imagePullPolicy", "Always", "container.imagePullPolicy", "Always", "IfNotPresent")
    yield row({"imagePullSecrets.0.name": "other"}, {"pod.imagePullSecrets.0.name": "other"})
    yield row({"imagePullSecrets": REMOVED}, {"pod.imagePullSecrets": GONE})
    yield from plain("tensorParallelSize", 3, "args.--tensor-parallel-size", "3", "1")
    yield row({"pipelineParallelSize": 2}, {"args.--pipeline-parallel-size": "2"})


def engine_args() -> Iterator[Row]:
    """`engineArgs`."""
    yield row({"engineArgs.dtype": "float32"}, {"args.--dtype": "float32"})
    unset = {"args.--dtype": "bfloat16", "status.precision": "bf16"}
    yield row({"engineArgs.dtype": REMOVED}, unset)
    yield from plain("engineArgs.maxModelLen", 2048, "args.--max-model-len", "2048")
    yield from plain("engineArgs.maxNumSeqs", 8, "args.--max-num-seqs", "8")
    yield from plain("engineArgs.maxNumBatchedTokens", 4096, "args.--max-num-batched-tokens", "4096")
    yield from plain("engineArgs.blockSize", 64, "args.--block-size", "64")
    yield from plain("engineArgs.gpuMemoryUtilization", 0.25, "args.--gpu-memory-utilization", "0.25")
    yield from plain("engineArgs.kvCacheDtype", "fp8", "args.--kv-cache-dtype", "fp8")
    yield from plain("engineArgs.seed", 0, "args.--seed", "0")
    caching, eager = "args.--enable-prefix-caching", "args.--enforce-eager"
    off = {caching: GONE, "args.--no-enable-prefix-caching": ""}
    yield row({"engineArgs.enablePrefixCaching": False}, off)
    yield row({"engineArgs.enablePrefixCaching": REMOVED}, {caching: GONE})
    yield row({"engineArgs.enforceEager": False}, {eager: GONE, "args.--no-enforce-eager": ""})
    yield row({"engineArgs.enforceEager": REMOVED}, {eager: GONE})


def words() -> Iterator[Row]:
    """`extraArgs` and `extraEnv`."""
    yield row({"extraArgs.1": "200"}, {"args.--max-log-len": "200"})
    yield row({"extraArgs": REMOVED}, {"args.--max-log-len": GONE})
    yield row({"extraEnv.0.name": "E"}, {"env.A": GONE, "env.E.value": "a"})
    # No variable of the container is expanded in it.
    yield from plain("extraEnv.0.value", "b$(C)", "env.A.value", "b$$(C)")
    for index, name, kind in ((1, "B", "secretKeyRef"), (2, "C", "configMapKeyRef")):
        path, place = f"extraEnv.{index}.valueFrom.{kind}", f"env.{name}.valueFrom.{kind}"
        yield row({f"{path}.name": "other"}, {f"{place}.name": "other"})
        yield row({f"{path}.key": "other"}, {f"{place}.key": "other"})
        yield from plain(f"{path}.optional", False, f"{place}.optional", False)
    path = "valueFrom.fieldRef.fieldPath"
    yield row({f"extraEnv.3.{path}": "status.hostIP"}, {f"env.D.{path}": "status.hostIP"})
    yield row({"extraEnv.3": REMOVED}, {"env.D": GONE})
    yield row({"extraEnv": REMOVED}, {f"env.{name}": GONE for name in "ABCD"})


def cpu() -> Iterator[Row]:
    """`cpu`, `resources` and `shmSize`."""
    yield from plain("cpu.kvCache", "5Gi", "args.--kv-cache-memory-bytes", "5368709120")
    bind, reserved = "env.VLLM_CPU_OMP_THREADS_BIND.value", "env.VLLM_CPU_NUM_OF_RESERVED_CPU"
    named = {"cpu.threadsBind": "0-1", "cpu.reservedCores": REMOVED}
    yield row(named, {bind: "0-1", reserved: GONE})
    # Two and a half CPUs are not cores of one's own.
    shared = {bind: "nobind", "env.OMP_NUM_THREADS.value": "2"}
    yield row({"cpu.threadsBind": REMOVED}, shared)
    yield row({"cpu.reservedCores": 2}, {f"{reserved}.value": "2"})
    yield row({"cpu.reservedCores": REMOVED}, {reserved: GONE})
    limits, requests = "container.resources.limits", "container.resources.requests"
    leaf = "spec.resources.limits.*"
    yield row({"resources.limits.cpu": 4}, {f"{limits}.cpu": "4"}, leaf=leaf)
    yield row({"resources.limits.cpu": REMOVED}, {f"{limits}.cpu": GONE}, leaf=leaf)
    yield row({"resources.limits": REMOVED}, {limits: GONE}, leaf=leaf)
    leaf = "spec.resources.requests.*"
    yield row({"resources.requests.cpu": "1.5"}, {f"{requests}.cpu": "1500m"}, leaf=leaf)
    # What is not asked for is what is allowed: the API server's own default.
    yield row({"resources.requests": REMOVED}, {requests: GONE}, leaf=leaf)
    yield from plain("shmSize", "5120Mi", "pod.volumes.shm.emptyDir.sizeLimit", "5Gi", "4Gi")


def cache() -> Iterator[Row]:
    """`cache`: class and modes are chosen once, with a new server."""
    claim, requested = "claim.spec.storageClassName", "claim.spec.resources.requests.storage"
    yield row({"cache.size": "20480Mi"}, {requested: "20Gi"}, own=True)
    yield row({"cache.size": "9Gi"}, refused="size may grow, but not shrink")
    for value, shown in (("immediate", "immediate"), (REMOVED, "wait")):
        yield row({"cache.storageClassName": value}, refused=IN_ONE_WAY)
        yield row({"cache.storageClassName": value}, {claim: shown}, fresh=True)
    both = {"cache.accessModes": ["ReadWriteMany"]}
    leaf = "spec.cache.accessModes[]"
    yield row(both, refused=IN_ONE_WAY, leaf=leaf)
    strategy = "deployment.spec.strategy.rollingUpdate"
    surges = {f"{strategy}.maxSurge": 1, f"{strategy}.maxUnavailable": 0}
    yield row(both, {"claim.spec.accessModes.0": "ReadWriteMany"} | surges, leaf=leaf, fresh=True)
    yield row({"cache.accessModes": REMOVED}, leaf=leaf, fresh=True)
    for value in ("Retain", REMOVED):
        yield row({"cache.retention": value}, {"claim.owner": GONE})
    yield from plain("cache.fsGroup", 3000, "pod.securityContext.fsGroup", 3000, 1000)
    two = {"cache.claimName": GIVEN}
    yield row(two, refused="give exactly one of size")
    yield from given(surges)


def given(surges: dict[str, int]) -> Iterator[Row]:
    """A given claim, which may be mounted by several nodes; the files of the one that was made stay."""
    leaf = "spec.cache.claimName"
    home = {"env.VLLM_CACHE_ROOT.value": "/home/vllm/.cache/vllm"}
    volume = {"pod.volumes.cache.persistentVolumeClaim.claimName": GIVEN}
    change = {"cache": {"claimName": GIVEN, "fsGroup": 2000}}
    yield row(change, home | volume | surges, leaf=leaf, own=True)
    security = "pod.securityContext"
    unset = {f"{security}.fsGroup": GONE, f"{security}.fsGroupChangePolicy": GONE}
    yield row({"cache": {"claimName": GIVEN}}, home | volume | surges | unset, leaf=leaf, own=True)


def prefetch() -> Iterator[Row]:
    """`prefetch`: once it has run, pods serve what it has found, and have neither token nor hub."""
    # Of the base, which is offline, pods have HF_HUB_OFFLINE already, and keep it.
    seen = {"args.--revision": COMMIT, "env.HF_TOKEN": GONE, "env.HF_ENDPOINT": GONE}
    policy = {
        "prefetchPolicy.owner": "VLLMServer chat",
        "prefetchPolicy.spec.policyTypes.0": "Ingress",
        "prefetchPolicy.spec.podSelector.matchLabels": {
            "vllm-operator.dev/server": "chat",
            "app.kubernetes.io/component": "prefetch",
        },
    }
    for value in (True, REMOVED):
        yield row({"prefetch": value, "model.offline": False}, seen | policy)
        # Offline there is nothing to fetch: the pods are the same but for their record's name.
        yield row({"prefetch": value}, rolls=True)


def access() -> Iterator[Row]:
    """`apiKeySecretRef` and `networkPolicy`: who may call the server."""
    key = "env.VLLM_API_KEY.valueFrom.secretKeyRef"
    yield row({"apiKeySecretRef.name": "other"}, {f"{key}.name": "other"})
    yield from plain("apiKeySecretRef.key", "k", f"{key}.key", "k", "VLLM_API_KEY")
    yield row({"apiKeySecretRef": REMOVED}, {"env.VLLM_API_KEY": GONE})
    here, there = "networkPolicy.from", "policy.spec.ingress.0.from"
    for part in ("podSelector", "namespaceSelector"):
        for each in placement.selector(f"{here}.0.{part}"):
            seen = {place.replace(f"pod.{here}", there): value for place, value in each.seen.items()}
            yield replace(each, seen=seen)
        yield row({f"{here}.0.{part}": REMOVED}, {f"{there}.0.{part}": GONE})
    for path, value in (("cidr", "10.0.0.0/9"), ("except.0", "10.2.0.0/16")):
        yield row({f"{here}.1.ipBlock.{path}": value}, {f"{there}.1.ipBlock.{path}": value})
    yield row({f"{here}.1.ipBlock.except": REMOVED}, {f"{there}.1.ipBlock.except": GONE})
    wrong = ("ChildRejected", "NetworkPolicy chat was refused by the API server")
    yield row({f"{here}.1.ipBlock.cidr": "10.0.0.0"}, stalled=wrong)
    yield row({"networkPolicy": REMOVED}, {"policy": GONE})


def pods() -> Iterator[Row]:
    """What pods bear, and as whom they run."""
    yield from account()
    for field, place in (("podLabels", "labels"), ("podAnnotations", "annotations")):
        leaf, (key, value) = f"spec.{field}.*", {"labels": ("team", "a"), "annotations": ("note", "b")}[place]
        more = {key: "x", "more": value}
        yield row({field: more}, {f"{place}.{key}": "x", f"{place}.more": value}, leaf=leaf)
        yield row({field: {"more": value}}, {f"{place}.{key}": GONE, f"{place}.more": value}, leaf=leaf)
        yield row({field: REMOVED}, {f"{place}.{key}": GONE}, leaf=leaf)
    proxies = (("httpProxy", "http_proxy"), ("httpsProxy", "https_proxy"), ("noProxy", "no_proxy"))
    for field, variable in proxies:
        names = (variable, variable.upper())
        value = "http://other.example:1"
        yield row({f"proxy.{field}": value}, {f"env.{name}.value": value for name in names})
        yield row({f"proxy.{field}": REMOVED}, {f"env.{name}": GONE for name in names})
    yield row(
        {"proxy": REMOVED},
        {f"env.{name}": GONE for _, variable in proxies for name in (variable, variable.upper())},
        leaf="spec.proxy.httpProxy",
    )


def account() -> Iterator[Row]:
    """`serviceAccountName`: without it an account is made, which has no token and no rights."""
    yield row({"serviceAccountName": ACCOUNTS[1]}, {"pod.serviceAccountName": ACCOUNTS[1]})
    made = {"account.automountServiceAccountToken": False, "account.owner": "VLLMServer chat"}
    yield row({"serviceAccountName": REMOVED}, made | {"pod.serviceAccountName": "chat-vllm"}, own=True)


def whole() -> Iterator[Row]:
    """What is about the server as a whole: replicas, Service, warm-up, rollouts."""
    budget = {
        "deployment.spec.replicas": 2,
        "budget.owner": "VLLMServer chat",
        "budget.spec.maxUnavailable": 1,
        "budget.spec.unhealthyPodEvictionPolicy": "AlwaysAllow",
        "budget.spec.selector.matchLabels": {
            "vllm-operator.dev/server": "chat",
            "app.kubernetes.io/component": "server",
        },
    }
    yield row({"replicas": 2}, budget, own=True)
    yield row({"replicas": 0}, {"deployment.spec.replicas": 0})
    yield from plain("service.type", "LoadBalancer", "service.spec.type", "LoadBalancer", "ClusterIP")
    for value, port in ((9000, 9000), (REMOVED, 8008)):
        url = f"http://chat.NAMESPACE.svc:{port}"
        yield row({"service.port": value}, {"service.spec.ports.0.port": port, "status.url": url})
    note = "service.annotations.note"
    leaf = "spec.service.annotations.*"
    yield row({"service.annotations": {"note": "c"}}, {note: "c"}, leaf=leaf)
    yield row({"service.annotations": {"n": "b"}}, {note: GONE, "service.annotations.n": "b"}, leaf=leaf)
    yield row({"service.annotations": REMOVED}, {note: GONE}, leaf=leaf)
    for value, seconds, failures in ((3605, "3605", 361), (REMOVED, "7200", 720)):
        variable = {"env.VLLM_ENGINE_READY_TIMEOUT_S.value": seconds}
        probe = {"container.startupProbe.failureThreshold": failures}
        yield row({"warmup.timeoutSeconds": value}, variable | probe)
    for value, flag, grace in ((20, "20", 60), (REMOVED, "60", 100)):
        shown = {"args.--shutdown-timeout": flag, "pod.terminationGracePeriodSeconds": grace}
        yield row({"rollout.drainSeconds": value}, shown)
    deadline = "deployment.spec.progressDeadlineSeconds"
    yield from plain("rollout.progressDeadlineSeconds", 80000, deadline, 80000, 4800)
    for refresh in ("2", REMOVED):
        yield row({"rollout.refresh": refresh}, rolls=True)
    # What comes of it is in the status, and in tests/cluster/test_verified.py.
    for verify in (False, REMOVED):
        yield row({"verify": verify})
    waiting = ("Paused", "spec.paused is true. To make or change: ControllerRevision")
    yield row({"paused": True, "engineArgs.seed": 9}, stalled=waiting)
    yield row({"paused": REMOVED, "engineArgs.seed": 9}, {"args.--seed": "9"})


def beside() -> Iterator[Row]:
    """`autoscaling` and `monitoring`, on which no pod depends."""
    spec, metric = "autoscaler.spec", "autoscaler.spec.metrics.0.pods"
    # With a larger one the autoscaler would scale at once: tests/cluster/test_autoscaling.py sees that.
    yield row({"autoscaling.minReplicas": 4}, refused="maxReplicas must be at least minReplicas")
    yield row({"autoscaling.minReplicas": REMOVED})
    yield row({"autoscaling.maxReplicas": 4}, {f"{spec}.maxReplicas": 4})
    default = "vllm:num_requests_waiting"
    yield from plain("autoscaling.target.metric", "other", f"{metric}.metric.name", "other", default)
    yield from plain("autoscaling.target.averageValue", "2.5", f"{metric}.target.averageValue", "2500m", "5")
    for path, default_seconds in (
        ("scaleUp.stabilizationWindowSeconds", 60),
        ("scaleDown.stabilizationWindowSeconds", 600),
    ):
        yield from plain(f"autoscaling.{path}", 5, f"{spec}.behavior.{path}", 5, default_seconds)
    period = f"{spec}.behavior.scaleDown.policies.0.periodSeconds"
    yield from plain("autoscaling.scaleDown.periodSeconds", 5, period, 5, 300)
    yield row({"autoscaling": REMOVED}, {"autoscaler": GONE}, leaf="spec.autoscaling.maxReplicas")
    labels, leaf = "monitor.labels", "spec.monitoring.podMonitor.labels.*"
    here = "monitoring.podMonitor"
    yield row(
        {f"{here}.labels": {"team": "a"}}, {f"{labels}.release": GONE, f"{labels}.team": "a"}, leaf=leaf
    )
    yield row({f"{here}.labels": REMOVED}, {f"{labels}.release": GONE}, leaf=leaf)
    interval = "monitor.spec.podMetricsEndpoints.0.interval"
    yield from plain(f"{here}.interval", "1m30s", interval, "1m30s", "30s")
    yield row({here: REMOVED}, {"monitor": GONE}, leaf=leaf)


def rows() -> list[Row]:
    """Every row of our own fields."""
    parts = (model, engine, engine_args, words, cpu, cache, prefetch, access, pods, whole, beside)
    return [each for part in parts for each in part()]
