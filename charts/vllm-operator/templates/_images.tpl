{{/*
The default image of a device, with which the operator would not start. Of a dict: device, image, engine,
known (what the operator has by itself), allowed (the prefixes).
*/}}
{{- define "vllm-operator.checkImage" -}}
{{- $path := printf "defaultImages.%s" .device -}}
{{- $image := .image | default .known.image -}}
{{- if and .image (not .engine) -}}
{{- fail (printf "%s.engine: say which engine %s holds, such as %q" $path .image .known.engine) -}}
{{- end -}}
{{- if and .engine (not .image) (ne .engine .known.engine) -}}
{{- fail (printf "%s.image: say which image holds %s: the operator's own, %s, holds %s" $path .engine $image .known.engine) -}}
{{- end -}}
{{- /* Intel's registry carries the versions in the path, and `latest` is the only tag that is published there. */ -}}
{{- $fixed := regexMatch "/habanalabs/[^/:]*[0-9]+[.][0-9]+[.][0-9]+[^/:]*:latest" $image -}}
{{- if and (not $fixed) (or (hasSuffix ":latest" $image) (not (regexMatch "@|:[^/]+$" $image))) -}}
{{- fail (printf "%s.image: %s moves: give a fixed tag or a digest" $path $image) -}}
{{- end -}}
{{- $allowed := empty .allowed -}}
{{- range .allowed -}}
{{- $parts := splitn "/" 2 . -}}
{{- $prefix := printf "%s/%s" (include "vllm-operator.registry" $parts._0) ($parts._1 | default "") | trimSuffix "/" -}}
{{- if hasPrefix (printf "%s/" $prefix) (printf "%s/" (include "vllm-operator.repository" $image)) -}}
{{- $allowed = true -}}
{{- end -}}
{{- end -}}
{{- if not $allowed -}}
{{- fail (printf "%s.image: %s is not below what allowedImages allows (%s): allow it, or name an image that is, and its engine" $path $image (join ", " .allowed)) -}}
{{- end -}}
{{- end -}}

{{/* The repository of an image as runtimes read it: with its registry, without tag and digest. */}}
{{- define "vllm-operator.repository" -}}
{{- $bare := regexReplaceAll "(:[^:/@]+)?(@.+)?$" . "" -}}
{{- $parts := splitn "/" 2 $bare -}}
{{- if not (and $parts._1 (regexMatch "[.:A-Z]|^localhost$" $parts._0)) -}}
{{- $parts = dict "_0" "docker.io" "_1" $bare -}}
{{- end -}}
{{- $registry := include "vllm-operator.registry" $parts._0 -}}
{{- /* Docker's official images have a folder of their own. */ -}}
{{- $official := and (eq $registry "docker.io") (not (contains "/" $parts._1)) -}}
{{- printf "%s/%s%s" $registry (ternary "library/" "" $official) $parts._1 -}}
{{- end -}}

{{/* A registry by the name that all its names lead to. */}}
{{- define "vllm-operator.registry" -}}
{{- eq (lower .) "index.docker.io" | ternary "docker.io" (lower .) -}}
{{- end -}}
