"""A full, valid object of each kind, in which every field has a value: what the cases change."""

from typing import Any

Body = dict[str, Any]

REQUIREMENT = {"key": "a", "operator": "In", "values": ["b"]}
NODE_TERM = {
    "matchExpressions": [REQUIREMENT],
    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}],
}
SELECTOR = {"matchLabels": {"a": "b"}, "matchExpressions": [REQUIREMENT]}
POD_TERM = {
    "labelSelector": SELECTOR,
    "topologyKey": "kubernetes.io/hostname",
    "matchLabelKeys": ["a"],
    "mismatchLabelKeys": ["b"],
}
POD_AFFINITY = {
    "requiredDuringSchedulingIgnoredDuringExecution": [POD_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": POD_TERM}],
}

FULL: Body = {
    "apiVersion": "vllm-operator.dev/v1alpha1",
    "kind": "VLLMServer",
    "metadata": {"name": "full"},
    "spec": {
        "model": {
            "name": "org/model",
            "revision": "main",
            "servedNames": ["one", "two"],
            "tokenSecretRef": {"name": "token", "key": "HF_TOKEN"},
            "chatTemplate": {"configMapKeyRef": {"name": "templates", "key": "chat"}},
            "trustRemoteCode": True,
            "offline": False,
            "hubEndpoint": "https://hub.example",
        },
        "device": "cpu",
        "engine": {"family": "vllm", "version": "0.32"},
        "image": "registry.example/vllm:v1",
        "imagePullPolicy": "IfNotPresent",
        "imagePullSecrets": [{"name": "pull"}],
        "tensorParallelSize": 2,
        "pipelineParallelSize": 1,
        "engineArgs": {
            "dtype": "bfloat16",
            "maxModelLen": 4096,
            "maxNumSeqs": 16,
            "maxNumBatchedTokens": 8192,
            "blockSize": 128,
            "gpuMemoryUtilization": 0.9,
            "enablePrefixCaching": True,
            "kvCacheDtype": "auto",
            "seed": 0,
            "enforceEager": False,
        },
        "extraArgs": ["--max-log-len", "100"],
        "extraEnv": [
            {"name": "A", "value": "a"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": False}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "cpu": {"kvCache": "4Gi", "threadsBind": "auto", "reservedCores": 1},
        "cache": {
            "size": "10Gi",
            "storageClassName": "fast",
            "accessModes": ["ReadWriteOnce"],
            "retention": "Retain",
            "fsGroup": 1000,
        },
        "prefetch": False,
        "replicas": 1,
        "autoscaling": {
            "minReplicas": 1,
            "maxReplicas": 4,
            "target": {"metric": "vllm:num_requests_waiting", "averageValue": "5"},
            "scaleUp": {"stabilizationWindowSeconds": 60},
            "scaleDown": {"stabilizationWindowSeconds": 600, "periodSeconds": 300},
        },
        "monitoring": {"podMonitor": {"labels": {"release": "prometheus"}, "interval": "30s"}},
        "service": {"type": "ClusterIP", "port": 8008, "annotations": {"note": "b"}},
        "apiKeySecretRef": {"name": "key", "key": "VLLM_API_KEY"},
        # Too much for one peer, as the API server says of the policy; the schema takes it.
        "networkPolicy": {
            "from": [
                {
                    "podSelector": SELECTOR,
                    "namespaceSelector": SELECTOR,
                    "ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]},
                }
            ]
        },
        "warmup": {"timeoutSeconds": 7200},
        "microservice": {
            "enabled": True,
            "replicas": 2,
            "image": "registry.example/operator:v1",
            "connector": "generic",
            "port": 9000,
            "resources": {"limits": {"cpu": 1}, "requests": {"cpu": "100m"}},
        },
        "rollout": {"drainSeconds": 60, "progressDeadlineSeconds": 604800, "refresh": "1"},
        "paused": False,
        "verify": True,
        "resources": {"limits": {"cpu": 8, "memory": "24Gi"}, "requests": {"cpu": "8"}},
        "shmSize": "4Gi",
        "nodeSelector": {"disk": "fast"},
        "tolerations": [
            {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 60}
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [NODE_TERM]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": NODE_TERM}],
            },
            "podAffinity": POD_AFFINITY,
            "podAntiAffinity": POD_AFFINITY,
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": SELECTOR,
                "matchLabelKeys": ["pod-template-hash"],
                "minDomains": 2,
                "nodeAffinityPolicy": "Honor",
                "nodeTaintsPolicy": "Honor",
            }
        ],
        "priorityClassName": "high",
        "serviceAccountName": "puller",
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "a b"},
        "proxy": {
            "httpProxy": "http://proxy.example:3128",
            "httpsProxy": "http://proxy.example:3128",
            "noProxy": "localhost,.svc",
        },
    },
}
"""A VLLMServer on CPUs in which every field has a value."""

_ALIKE = (
    *("image", "imagePullPolicy", "imagePullSecrets", "extraEnv", "resources", "shmSize", "nodeSelector"),
    *("tolerations", "affinity", "priorityClassName", "serviceAccountName", "podLabels", "podAnnotations"),
    "proxy",
)
"""Fields that both kinds have."""

FULL_QUANTIZATION: Body = {
    "apiVersion": "vllm-operator.dev/v1alpha1",
    "kind": "FP8Quantization",
    "metadata": {"name": "full"},
    "spec": {
        "model": {
            "name": "org/model",
            "revision": "main",
            "tokenSecretRef": {"name": "token", "key": "HF_TOKEN"},
            "trustRemoteCode": True,
            "hubEndpoint": "https://hub.example",
        },
        "cache": {"claimName": "weights", "fsGroup": 1000},
        "dataset": {"persistentVolumeClaim": {"claimName": "samples", "path": "a/b.pkl"}},
        "tensorParallelSize": 4,
        "batchSize": 16,
        "sampleLimit": 256,
        "unifyTo": 2,
        "expertParallel": True,
        "backend": "Script",
        "engine": {"family": "vllm-gaudi", "version": "0.26"},
        "gaudi": {
            "generation": "g3",
            "hugepages2Mi": "2Gi",
            "runtimeClassName": "habana",
            "sysNice": True,
            "lazyCollectives": True,
        },
        "backoffLimit": 2,
        "activeDeadlineSeconds": 86400,
        "ttlSecondsAfterFinished": 3600,
        "isolated": True,
        "retry": 1,
        **{field: FULL["spec"][field] for field in _ALIKE},
    },
}
"""An FP8Quantization that measures a dataset, in which every field has a value that may have one then."""

FULLS = {"VLLMServer": FULL, "FP8Quantization": FULL_QUANTIZATION}
"""The full object of each kind."""
