# The image of the two services that people and Drive reach: notify and dashboard. No FFmpeg is in
# it, so it starts fast and has little to attack. Built from the repository's root:
#   docker build --file functions/web.Dockerfile .
# Each service chooses its entry point: functions-framework --source=… --target=…

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /src
# Only the functions' requirements: the package's own dependencies are those of the command. They
# are a layer of their own, since they change less often than the code.
COPY constraints.txt ./
COPY functions/dashboard/requirements.txt dashboard.txt
COPY functions/drive_watch/requirements.txt drive_watch.txt
# Without pip in the environment: what runs needs nothing that installs.
RUN python -m venv --without-pip /app/.venv \
    && pip --python /app/.venv/bin/python install --no-cache-dir --require-hashes --requirement dashboard.txt \
       --requirement drive_watch.txt
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY functions/__init__.py functions/__init__.py
COPY functions/dashboard functions/dashboard
COPY functions/drive_watch functions/drive_watch
RUN pip --python /app/.venv/bin/python install --no-cache-dir --no-deps .

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS sbom
# What is in the image, as CycloneDX: packages, versions, licences.
COPY infra/requirements/sbom.txt /sbom.txt
RUN pip install --no-cache-dir --require-hashes --requirement /sbom.txt
COPY --from=build /app/.venv /app/.venv
RUN cyclonedx-py environment --output-reproducible --output-file /sbom.cdx.json /app/.venv/bin/python

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
RUN pip uninstall --yes pip \
    && useradd --system --no-create-home --uid 10001 app
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY --from=sbom /sbom.cdx.json sbom.cdx.json
COPY functions/dashboard/main.py functions/dashboard/main.py
COPY functions/drive_watch/main.py functions/drive_watch/main.py
ENV PATH=/app/.venv/bin:$PATH \
    PORT=8080 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
# Exec form, so that SIGTERM reaches the server itself.
CMD ["functions-framework", "--source=functions/drive_watch/main.py", "--target=notify"]
