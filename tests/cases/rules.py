"""How the rules' messages begin, and texts that are easily mangled."""

from collections.abc import Iterator

from tests.cases.builders import words
from tests.cases.table import Case

CONTROLS = "\x01\x1b\x7f\x80\x85\x9f\u2028\u2029\ufeff\ufffe\uffff"
EMOJI = "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467"
MAX_INT = 2**31 - 1

NAMES = "metadata.name must"
RESERVED = "metadata.name may not end with"
DOTS = "name may not hold"
REVISION = "revision belongs to"
ONE_CACHE = "give exactly one of size"
GOES_WITH_SIZE = "storageClassName, accessModes and retention go with size"
SIZE = "size must be greater than 0"
NO_SHRINKING = "size may grow, but not shrink"
NO_NEW_CLASS = "storageClassName and accessModes"
ONE_SOURCE = "give exactly one of secretKeyRef"
ONE_VALUE = "give value or valueFrom"
OWNED_VARIABLE = "the operator sets this variable itself"
OWNED_FLAG = "the operator sets this flag itself"
KV_CACHE = "kvCache must be greater than 0"
RESERVED_CORES = "reservedCores has an effect only"
ENGINE = "engine is required with an image"
GAUDI = "habana.ai/gaudi follows from"
RESOURCE_NAME = "a resource name has at most 317"
DEADLINE = "rollout.progressDeadlineSeconds must be at least"
ONE_PROXY = "give proxies in proxy or as variables"
PASSWORD = "a proxy's password does not belong"
QUALIFIED = "a key is a name of at most 63"
RESERVED_LABEL = "others set these keys, leave them out: app.kubernetes.io/component"
RESERVED_ANNOTATION = "others set these keys, leave them out: kubectl.kubernetes.io/restartedAt"
TOGETHER = "replicas on different nodes cannot share"
AVERAGE = "averageValue must be greater than 0"
FEWEST = "maxReplicas must be at least minReplicas"
FAMILY = "engine.family is vllm-gaudi on Gaudi"
CARDS = "tensorParallelSize times pipelineParallelSize must be"
OF_CPUS = "cpu has an effect only with device: cpu"
OF_GAUDI = "gaudi, warmup.skip, warmup.strategy, warmup.buckets"
BUCKETS = "buckets have an effect only with strategy"
RECIPES = "warmup.recipeCache needs a cache that one node writes to"
RECIPES_SIZE = "size must be at least 1Mi"
ONE_FP8 = "give exactly one of quantizationRef"
WAIT = "whilePending: Wait has an effect only"
FP8 = "fp8 needs device: gaudi"
FP8_CACHE = "engineArgs.kvCacheDtype follows from fp8"
ONE_INPUT = "give exactly one of dataset"
ONE_DATASET = "give exactly one of persistentVolumeClaim"
FILE_DOTS = "path may not hold"
FILE = "must be the path of a file in the volume"
SHA256 = "must be a SHA-256 as sha256sum prints it"
FOLDER = "must be the path of a folder below /data/"
CALIBRATED_FAMILY = "engine.family must be vllm-gaudi"
BACKEND = "backend Script measures a dataset"
TRUST = "model.trustRemoteCode: true is required"
MEASURED_CARDS = "tensorParallelSize must be 1, 2, 4 or 8"
UNIFY = "unifyTo must be a divisor"
EXPERTS = "expertParallel with tensorParallelSize"
NOT_MEASURED = "unifyTo, sampleLimit and expertParallel have no effect"


def object_names(path: str) -> Iterator[Case]:
    good = ("a", "0", "a.b-c.d", "a--b")
    bad = ("A", "a_b", "-a", "a-", ".a", "a.", "a/b", "../a", "a b", "a\n", "ä", "a..b", "a.-b", "a-.b")
    return words(path, longest=253, good=good, bad=bad)


def data_keys(path: str) -> Iterator[Case]:
    good = ("a", ".a", "A_b-c.d", "-", "a..b", ".a.", "_")
    bad = ("a/b", "a b", "a\n", "$a", "ä", ".", "..", "..a", "...")
    return words(path, longest=253, good=good, bad=bad)
