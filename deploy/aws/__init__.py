"""The case study's deployment: the model on SageMaker, in front of it a Lambda function behind an API Gateway."""
