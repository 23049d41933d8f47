"""Why a condition is as it is: every reason, with the sentence that the reference page prints."""

from enum import StrEnum


class Reason(StrEnum):
    """A reason; `doc` says in one sentence when it is given."""

    doc: str

    def __new__(cls, value: str, doc: str) -> "Reason":
        """Keep the sentence beside the word."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member

    ANSWERS = "Answers", "The server lists its model, and has answered with a token."
    AUTOSCALING = (
        "Autoscaling",
        "The HorizontalPodAutoscaler gets its metric, and sets the number of replicas.",
    )
    CACHED = "Cached", "The cache holds the model."
    CACHE_FULL = (
        "CacheFull",
        "The model does not fit into the space that the cache has; the message says how much is missing.",
    )
    CACHE_MISMATCH = "CacheMismatch", "The quantization's result is in another claim than the server's cache."
    CACHE_NOT_READABLE = (
        "CacheNotReadable",
        "The pod's user may not read or write a file of the cache; the message says which, and whose it is.",
    )
    CACHE_NOT_SHAREABLE = "CacheNotShareable", "The access mode of the claim lets no second pod mount it."
    CACHE_ON_OTHER_NODE = (
        "CacheOnOtherNode",
        "The volume of the cache is on a node that cannot take the pod.",
    )
    CACHE_UNBOUND = "CacheUnbound", "The claim of the cache has no volume yet, or does not exist."
    CALIBRATED = "Calibrated", "The model has been measured, and every file of the result is there."
    CALIBRATING = "Calibrating", "The model is being measured; what serves goes on until the result is there."
    CHILD_REJECTED = (
        "ChildRejected",
        "The API server refused an object that the operator or a controller made.",
    )
    CONTAINER_NOT_CREATED = (
        "ContainerNotCreated",
        "The kubelet cannot make the container; the message holds its words.",
    )
    CRASH_LOOPING = "CrashLooping", "The container ends again and again; the message holds its last words."
    DEADLINE_EXCEEDED = "DeadlineExceeded", "The calibration took longer than `spec.activeDeadlineSeconds`."
    ENGINE_MISMATCH = "EngineMismatch", "The model was measured with another engine than the server runs."
    EVICTED = "Evicted", "The kubelet has ended the pod or did not take it; the message holds its words."
    GATED_MODEL = (
        "GatedModel",
        "The hub gives the model or dataset only to accounts with access, and the token is of none.",
    )
    HUB_UNREACHABLE = (
        "HubUnreachable",
        "The hub does not answer, or is overloaded; the message says how, and it is asked again.",
    )
    IMAGE_NOT_ALLOWED = (
        "ImageNotAllowed",
        "The image is of none of the registries that the operator's admin allows; the message lists these.",
    )
    IMAGE_PULL_FAILED = "ImagePullFailed", "The image cannot be pulled."
    INVALID_FOR_ENGINE = "InvalidForEngine", "A field asks for what the image's engine does not know."
    INVALID_SPEC = "InvalidSpec", "The stored object breaks a rule of its kind that is newer than the object."
    INVALID_TOKEN = "InvalidToken", "The hub does not accept the token for this model."
    KEY_REQUIRED = (
        "KeyRequired",
        "The server is alive and asks for an API key, which the operator does not have.",
    )
    METRIC_UNAVAILABLE = (
        "MetricUnavailable",
        "The HorizontalPodAutoscaler gets no value of its metric, and leaves the replicas as they are.",
    )
    MODEL_MISMATCH = "ModelMismatch", "The quantization is of another model, or commit, than the server's."
    MODEL_NOT_FOUND = (
        "ModelNotFound",
        "The hub has no such model or revision, or shows it only to the token of another account.",
    )
    MONITORED = "Monitored", "There is a PodMonitor, by which Prometheus scrapes the pods."
    MOUNT_FAILED = (
        "MountFailed",
        "A volume cannot be mounted, such as that of a missing ConfigMap; the kubelet says why.",
    )
    MODEL_NOT_SERVED = "ModelNotServed", "The server answers, and does not list the model by its name."
    NOT_ANSWERING = (
        "NotAnswering",
        "The pods pass their probes, and a request through the Service fails; the message says how.",
    )
    NOT_OWNED = "NotOwned", "An object with the name of a child exists and is not the operator's."
    OUT_OF_MEMORY = "OutOfMemory", "The container was ended because it used more memory than it may."
    PAUSED = "Paused", "`spec.paused` is true: nothing is changed but the status."
    POD_MONITOR_NOT_INSTALLED = (
        "PodMonitorNotInstalled",
        "The cluster has no kind PodMonitor: the Prometheus Operator, which brings it, is not installed.",
    )
    PREFETCH_FAILED = (
        "PrefetchFailed",
        "The model could not be brought into the cache, no other reason fits; the message holds the words.",
    )
    PREFETCHING = (
        "Prefetching",
        "The model is being brought into the cache; the server starts when it is there.",
    )
    QUANTIZATION_FAILED = (
        "QuantizationFailed",
        "The quantization has failed; its own status says why, and what serves goes on.",
    )
    QUANTIZATION_NOT_FOUND = "QuantizationNotFound", "There is no FP8Quantization of that name."
    QUANTIZED = "Quantized", "The revision asked for serves, or will serve, in FP8."
    ROLLOUT_FAILED = (
        "RolloutFailed",
        "No pod of the revision asked for became ready in time; the message holds the cause.",
    )
    ROLLING_OUT = "RollingOut", "Pods of the revision asked for are being made."
    SCALING_FAILED = (
        "ScalingFailed",
        "The HorizontalPodAutoscaler cannot set the number of replicas; the message holds its words.",
    )
    SECRET_NOT_FOUND = (
        "SecretNotFound",
        "A Secret that the pod needs, or a key of it, does not exist; the kubelet says which.",
    )
    SERVING = "Serving", "Every replica serves the revision asked for."
    SUSPENDED = "Suspended", "The server has been scaled to 0."
    TENSOR_PARALLEL_MISMATCH = (
        "TensorParallelMismatch",
        "The result is for another `tensorParallelSize` than the server's.",
    )
    UNREACHABLE = (
        "Unreachable",
        "The network, such as a NetworkPolicy, keeps the operator from asking the server.",
    )
    UNSCHEDULABLE = "Unschedulable", "No node takes the pod; the message holds the scheduler's words."
    WAITING_FOR_ACCELERATORS = (
        "WaitingForAccelerators",
        "No node has as many free cards as the pod needs; the message holds the scheduler's words.",
    )
    WARMING_UP = "WarmingUp", "The container runs and loads the model; it does not answer yet."

    # Reasons of a quantization's Jobs: prefetch and calibration.
    ARTIFACTS_CHANGED = (
        "ArtifactsChanged",
        "The files of a calibration are not those that its manifest lists; the message says which.",
    )
    ARTIFACTS_INCOMPLETE = (
        "ArtifactsIncomplete",
        "The calibration has not left every file that a server needs; the message says what is missing.",
    )
    CALIBRATION_FAILED = (
        "CalibrationFailed",
        "The calibration ended without a result, no other reason fits; the message holds its last words.",
    )
    CALIBRATION_TOOL_MISSING = (
        "CalibrationToolMissing",
        "The image does not hold what calibrates with the backend asked for; the message names what does.",
    )
    DATASET_INVALID = (
        "DatasetInvalid",
        "The calibration dataset is not what it should be, in its SHA-256, its columns or its format.",
    )
    DATASET_NOT_FOUND = (
        "DatasetNotFound",
        "There is no such calibration dataset, split or task, or it is shown only to another account.",
    )
    GENERATION_MISMATCH = (
        "GenerationMismatch",
        "The cards, or the files of a calibration, are of another Gaudi generation than asked for.",
    )
    OUT_OF_DEVICE_MEMORY = (
        "OutOfDeviceMemory",
        "The model does not fit into the memory of the cards; a larger tensorParallelSize takes more.",
    )
    SAMPLES_MISSING = (
        "SamplesMissing",
        "The calibration has measured fewer samples than asked for; the message holds both numbers.",
    )
    UNIFY_FAILED = (
        "UnifyFailed",
        "The measurements could not be merged for fewer cards; the message says why.",
    )


ORDINARY = frozenset(
    {
        *(Reason.ANSWERS, Reason.AUTOSCALING, Reason.CACHED, Reason.CALIBRATED, Reason.CALIBRATING),
        *(Reason.KEY_REQUIRED, Reason.MONITORED, Reason.PAUSED, Reason.PREFETCHING, Reason.QUANTIZED),
        *(Reason.ROLLING_OUT, Reason.SERVING, Reason.SUSPENDED, Reason.WARMING_UP),
    }
)
"""Reasons that come and go while all is well; the others are Warnings among the Events."""


class StalledError(Exception):
    """Nothing will change until somebody edits something.

    `reason` and `message` become the Stalled condition.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
