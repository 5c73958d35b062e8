FROM python:3.12-slim
COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY phyda_cli /src/phyda_cli
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --constraint /src/constraints.txt /src && rm -r /src
RUN useradd --create-home phyda
USER phyda
WORKDIR /data
ENTRYPOINT ["phyda"]
CMD ["--help"]
