# syntax=docker/dockerfile:1
# The operator's image, of any commit. CONTRIBUTING.md says how it is built and pinned by digest, and what is tried of it
# without a container engine. Both images are of one Python and one Debian, so that compiled packages fit; the last
# stage fails where they do not.
ARG BUILD_IMAGE=docker.io/library/python:3.13-slim-trixie
# Python without a shell or a package manager: github.com/GoogleContainerTools/distroless, python3.
ARG RUNTIME_IMAGE=gcr.io/distroless/python3-debian13:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY tools/image ./tools/image
COPY pyproject.toml requirements.txt README.md LICENSE ./
COPY operator ./operator
RUN tools/image/build.sh /opt/venv /opt/vllm-operator.cdx.json /usr/bin/python3.13

# docker build --target sbom --output type=local,dest=dist .
FROM scratch AS sbom
COPY --from=build /opt/vllm-operator.cdx.json /

FROM ${RUNTIME_IMAGE}
COPY --from=build /opt/venv /opt/venv
# The Kubernetes client asks for a home, and kopf for a name: a uid that the platform assigns has neither.
ENV PATH=/opt/venv/bin:/usr/bin \
    HOME=/home/nonroot \
    LOGNAME=vllm-operator \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1
USER 65532:65532
# Imports all of it, compiled packages too, by the Python that will run it.
RUN ["python", "-c", "import llm_microservice.__main__, vllm_operator.__main__, vllm_operator.controller.operator"]
# Last, since they differ with each build.
ARG VERSION
ARG REVISION
ARG CREATED
ARG SOURCE
LABEL org.opencontainers.image.title="vllm-operator" \
      org.opencontainers.image.description="Kubernetes operator for vLLM on Intel Gaudi and CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
EXPOSE 8080 9000
ENTRYPOINT ["vllm-operator"]
CMD ["run"]
