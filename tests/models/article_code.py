"""The article's code blocks, verbatim except for the Chinese comments; by section."""

OPTIMIZERS = """
import tensorflow as tf

optimizer_gradient_descent = tf.keras.optimizers.GradientDescent(learning_rate=0.01)

optimizer_stochastic_gradient_descent = tf.keras.optimizers.SGD(learning_rate=0.01)

optimizer_adam = tf.keras.optimizers.Adam(learning_rate=0.001)
"""

LEARNING_RATE = """
import tensorflow as tf

learning_rate_schedule = tf.keras.optimizers.schedules.ExponentialDecay(
    initial_learning_rate=0.1,
    decay_steps=1000,
    decay_rate=0.96
)

learning_rate_callback = tf.keras.callbacks.LearningRateScheduler(learning_rate_schedule)
"""

BATCH_SIZE = """
import tensorflow as tf

batch_size_callback = tf.keras.callbacks.LambdaCallback(
    on_epoch_end=lambda epoch, logs={}:
        logs['batch_size'] = int(logs['batch'] * 1.2)
"""

WEIGHT_DECAY = """
import tensorflow as tf

l2_regularization = tf.keras.regularizers.l2(0.001)

weight_decay_callback = tf.keras.callbacks.L2Regularization(l2_regularization)
"""

REGULARIZATION = """
import tensorflow as tf

model.add(tf.keras.layers.Dense(64, input_shape=(input_shape,), kernel_regularizer=tf.keras.regularizers.l1(0.01)))

model.add(tf.keras.layers.Dense(64, input_shape=(input_shape,), kernel_regularizer=tf.keras.regularizers.l2(0.01)))
"""

EARLY_STOPPING = """
import tensorflow as tf

early_stopping_callback = tf.keras.callbacks.EarlyStopping(monitor='val_loss', patience=5)

learning_rate_schedule = tf.keras.optimizers.schedules.ExponentialDecay(
    initial_learning_rate=0.1,
    decay_steps=1000,
    decay_rate=0.96
)

def on_epoch_end(epoch, logs={}):
    if logs['val_loss'] < logs['best_val_loss']:
        logs['best_val_loss'] = logs['val_loss']
        best_weights = get_model().get_weights()
    else:
        if np.isnan(logs['val_loss']):
            print("Training halted early due to NaN loss")
            get_model().set_weights(best_weights)
            return
        else:
            print("Epoch {}: val_loss did not improve ({} -> {})".format(epoch + 1, logs['best_val_loss'], logs['val_loss']))
            get_model().set_weights(best_weights)
            return

early_stopping_callback = tf.keras.callbacks.EarlyStopping(monitor='val_loss', patience=5, on_epoch_end=on_epoch_end)
"""  # noqa: E501 - to the letter

BLOCKS = (OPTIMIZERS, LEARNING_RATE, BATCH_SIZE, WEIGHT_DECAY, REGULARIZATION, EARLY_STOPPING)
